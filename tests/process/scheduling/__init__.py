"""An app whose schedules a test gives by the environment: ``DELAYSERVER_TEST_SCHEDULES``, options by name, as JSON."""
