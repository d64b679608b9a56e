"""The doctor: looks at an installation, a dataset and a training before any time is spent on them."""

from nnunet_ext.doctor.diagnosis import diagnose
from nnunet_ext.doctor.findings import Finding

__all__ = ["Finding", "diagnose"]
