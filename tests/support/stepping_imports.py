"""Imports of the server process of tests/support/stepping.py, before it forks."""

from __future__ import annotations

import nnunetv2.experiment_planning.plan_and_preprocess_api
import nnunetv2.run.run_training
import torch

import plansguard.training.launch
import plansguard.training.trainer

__all__ = ["nnunetv2", "plansguard", "torch"]
