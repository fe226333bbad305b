"""People who answer in a Label Studio server (1.23 or newer), spoken to over plain HTTP."""
