"""Write plansguard/rules/samples.json: a finding of each rule, which ``plansguard explain`` and docs/rules show.

``python tools/samples.py`` lays out the first broken fixture of each rule and keeps the finding as it is printed. Run
it when messages of rules change, and commit the file. tests/rules/test_rules.py compares it with what rules print.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "plansguard" / "rules" / "samples.json"


def main() -> None:
    """Write the file."""
    sys.path.insert(0, str(ROOT))
    from tests.rules import ALL_VARIANTS
    from tests.support.samples import stable_sample, variants_by_code

    samples: dict[str, str] = {}
    for code, variants in variants_by_code(ALL_VARIANTS).items():
        with tempfile.TemporaryDirectory() as folder:
            text = stable_sample(variants[0], code, Path(folder))
        if text is not None:
            samples[code] = text
    PLACE.write_text(json.dumps(samples, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {len(samples)} samples")


if __name__ == "__main__":
    main()
