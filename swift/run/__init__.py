"""Running processes: from a command line and configuration files to workers, their parent, reloads and an orderly end; and pipelines loaded.

What never lives here: requests, databases, objects. It is handed what to run.
"""
