"""What is added to a model: files that change what its networks say."""
