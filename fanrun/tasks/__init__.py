"""What every task shares: its declaration, its options, the terminal, and the way errors are told."""
