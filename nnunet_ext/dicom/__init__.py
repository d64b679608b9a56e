"""DICOM in: a folder or zip of files becomes a list of series, and one of them a checked CT volume."""
