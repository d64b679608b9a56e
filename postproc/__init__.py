"""ABBC classes to fragments, and fragments to scores. Pure arrays: NumPy in, NumPy out."""

from postproc.audit import CaseAudit, PieceAudit, audit_round_trip
from postproc.class_rules import ClassReport, ClassRule, RuledClasses, apply_class_rules
from postproc.events import Event
from postproc.numbering import RecoveredFragment
from postproc.recover import RecoveredFragments, recover_fragments
from postproc.scores import CaseScores, evaluate_fragments, summarise_scores
from postproc.thresholds import DEFAULT_THRESHOLDS, Thresholds

__all__ = [
    "DEFAULT_THRESHOLDS",
    "CaseAudit",
    "CaseScores",
    "ClassReport",
    "ClassRule",
    "Event",
    "PieceAudit",
    "RecoveredFragment",
    "RecoveredFragments",
    "RuledClasses",
    "Thresholds",
    "apply_class_rules",
    "audit_round_trip",
    "evaluate_fragments",
    "recover_fragments",
    "summarise_scores",
]
