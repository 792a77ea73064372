"""What ``manage.py delays`` does, one file for each kind of subcommand; `arguments` has the list of them."""
