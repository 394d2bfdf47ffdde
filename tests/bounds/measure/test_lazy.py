from __future__ import annotations

import subprocess
import sys

import bounds.measure


def test_every_public_name_loads() -> None:
    for name in bounds.measure.__all__:
        assert callable(getattr(bounds.measure, name))


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, bounds.measure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
