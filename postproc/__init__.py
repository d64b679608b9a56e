"""ABBC classes to fragments, and fragments to scores. Pure arrays: NumPy in, NumPy out."""

from postproc.audit import CaseAudit, PieceAudit, audit_round_trip
from postproc.events import Event
from postproc.numbering import RecoveredFragment
from postproc.recover import RecoveredFragments, recover_fragments
from postproc.scores import CaseScores, evaluate_fragments, summarise_scores
from postproc.thresholds import DEFAULT_THRESHOLDS, Thresholds

__all__ = [
    "DEFAULT_THRESHOLDS",
    "CaseAudit",
    "CaseScores",
    "Event",
    "PieceAudit",
    "RecoveredFragment",
    "RecoveredFragments",
    "Thresholds",
    "audit_round_trip",
    "evaluate_fragments",
    "recover_fragments",
    "summarise_scores",
]
