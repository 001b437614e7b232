"""Connections to RabbitMQ over AMQP 0-9-1, without a word of jobs."""
