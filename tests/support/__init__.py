"""What tests stand on: private servers, processes, clocks, and waiting for facts."""
