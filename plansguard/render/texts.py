"""The first and the last line of texts that are no reports, by which `is_report` recognises them."""

from __future__ import annotations

import re

#: One pattern a text. Of reports, each format has its own.
_FIRST_LINES = (
    rb"PG000  error    rule-crashed ",  # rules
    rb"# PG\d{3} [a-z0-9-]+\n\n",  # explain
    rb"export nnUNet_extTrainer=",  # env
    rb"[\d,]+ optimiser steps?( after [\d,]+, so [\d,]+ in all)?\n  windows ",  # steps
    rb"[^\n]+: (nnU-Net plans|a trained model)\n",  # show
    rb"[^\n]+\n  (This is (a|an|the) |These are the weights )",  # show, of a checkpoint
    rb"[^\n]+ adapted to [^\n]+\n\n",  # adapt
    rb"(weights +)?dataset +plans +configuration +needs\n",  # fit
    rb"no differences in meaning\n\Z",  # diff
    rb"[^\n]+\n  ((weights|input|training|bookkeeping): |only in the (first|second) plans\n)",  # diff
    rb"[^\n]+plansguard_receipt\.json\n  (started|continued) ",  # verify-receipt
    rb"[^\n]+: (everything (that was compared )?is unchanged|[^\n]+ (changed|gone|cannot be read))\n",  # of several
    rb"[^\n]+, plans [^\n]+: \d+ cases?\n\n",  # preprocess
    rb"Dataset[^\n]+: [^\n]+ with [^\n]+, from [^\n]+ \((finetune|pretrain|graft)\)\n\n",  # finetune
    rb"Dataset[^\n]+\n  [^\n]+  (done|running|stopped|stale)  ",  # status
    rb"(nothing is|no plans, data or trainings are) there yet\n\Z",  # status
)
BEGINS = re.compile(b"|".join(_FIRST_LINES))
ENDS = re.compile(rb"\n\Z")
