// Takes a message and prints its headers and properties as JSON: read_message.js URL QUEUE
'use strict';
const amqp = require('amqplib');
const [url, queue] = process.argv.slice(2);

(async () => {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  const message = await channel.get(queue, { noAck: true });
  console.log(JSON.stringify(message.properties));
  await connection.close();
})();
