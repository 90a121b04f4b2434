"""What a method is, and how its weights are loaded: the contract that the sixteen systems of `istapp.methods` keep."""
