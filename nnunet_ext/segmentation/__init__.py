"""The road from a CT to fragments: the box round the bones, the network, the recovery, the way back, the files."""
