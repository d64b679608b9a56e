"""All plots under one name: scores per case, boxes, improvement over a baseline, trainings, and studies."""

from nnunet_ext.evaluation.case_plots import plot_boxes, plot_cases
from nnunet_ext.evaluation.improvement_plots import plot_improvement
from nnunet_ext.evaluation.study_plots import plot_bars, plot_curve
from nnunet_ext.evaluation.training_plots import plot_training

__all__ = ["plot_bars", "plot_boxes", "plot_cases", "plot_curve", "plot_improvement", "plot_training"]
