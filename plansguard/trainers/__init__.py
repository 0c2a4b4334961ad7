"""nnU-Net's trainers: which class a name leads to and what it says, read from its source and never imported."""

from plansguard.trainers.classes import TrainerClass
from plansguard.trainers.finder import (
    Search,
    all_names,
    find_trainer,
    finds_network,
    folders,
    search,
    stray,
)
from plansguard.trainers.signatures import Problem, problems_of

__all__ = [
    "Problem",
    "Search",
    "TrainerClass",
    "all_names",
    "find_trainer",
    "finds_network",
    "folders",
    "problems_of",
    "search",
    "stray",
]
