"""The front door of HTTPS sites and their certificates: which one is served, where it comes from, when it is renewed."""
