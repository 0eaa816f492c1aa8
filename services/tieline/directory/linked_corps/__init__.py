"""What a corp sees of the directories of those that it is linked with."""
