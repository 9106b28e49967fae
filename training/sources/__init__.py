"""Where candidates come from: one small class for each source, the blend of them all, and the step that trains both."""
