"""What HEC-RAS is on disk: projects, plans, the files a plan needs, results and messages.

No machines and no scheduling. Nothing is imported here, so that the command line starts fast.
"""
