"""What is done with a built release: published beside, tried as canary, made stable, taken back, put away."""
