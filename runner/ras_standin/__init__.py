"""A stand-in for the HEC-RAS engines: real one-dimensional hydraulics on HEC-RAS files, for machines without HEC-RAS.

It is NOT HEC-RAS and its results are not for engineering use. It exists so that a fleet, a campaign or a test can
be tried from end to end; it refuses what it cannot model and can fail on demand in the ways HEC-RAS fails.
"""

__version__ = "0.1.0"

#: Stands in every output: streams, compute messages, log and results file.
LABEL = "STAND-IN ENGINE - NOT HEC-RAS - NOT FOR ENGINEERING USE"

#: Program name in results files and messages.
ENGINE = "RAS stand-in engine"
