"""Workers as users run them: ``runtasks`` processes that run a project's consumers, on a real Redis."""
