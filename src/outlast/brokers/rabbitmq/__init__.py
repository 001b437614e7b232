"""Jobs on RabbitMQ: a transport, which carries them and keeps nothing of those that have ended."""
