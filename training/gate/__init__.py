"""Whether a candidate may take the champion's place: rules from the config file, a verdict beside the release."""
