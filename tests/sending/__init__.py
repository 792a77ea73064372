"""What a project sends, takes back and moves: from its views, workers and scripts, each a process of its own."""
