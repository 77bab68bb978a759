"""What was typed and the facts -> the list of RunSpecs."""
