"""``leaderboard.parquet`` and ``trials.parquet``, with the types of their columns; needs pyarrow."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

from ganbench.plugin.interfaces import Reporter
from ganbench.plugin.report import Report
from ganbench.utils.errors import UsageError
from ganbench.utils.files import write_atomic


class ParquetReporter(Reporter):
    name = "parquet"
    suffix = ".parquet"

    def write_report(self, report: Report, folder: Path) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise UsageError("--format parquet needs pyarrow, which is not installed: pip install 'ganbench[parquet]'")
        for name, table in (("leaderboard", report.shown), ("trials", report.trials)):
            out = io.BytesIO()
            table.to_parquet(out, engine="pyarrow", index=False)
            write_atomic(folder / f"{name}.parquet", out.getvalue())


reporter = ParquetReporter()
