"""The report of a campaign: one folder that opens in a browser, offline."""

from __future__ import annotations

from ras_runner.report.html import write_report
from ras_runner.report.model import AttemptRow, BurstRow, CampaignReport, CostRow, PlanRow

__all__ = ["AttemptRow", "BurstRow", "CampaignReport", "CostRow", "PlanRow", "write_report"]
