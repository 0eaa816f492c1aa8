"""Corps: what they are, how they live and end, and their verification. All pure."""
