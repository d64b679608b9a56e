"""What people look at: a picture of a case, and a report of one file to turn in a browser."""

from nnunet_ext.report.page import write_report
from nnunet_ext.report.preview import write_preview

__all__ = ["write_preview", "write_report"]
