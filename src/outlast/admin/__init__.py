"""Operations on stores for people and tools, without a terminal: findings, moves and bulk changes, for every edge."""
