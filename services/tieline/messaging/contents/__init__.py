"""What messages say: the rules of each kind, of cards and of the answers to them. All pure."""
