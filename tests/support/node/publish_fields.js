// Publishes a message whose headers have every type that amqplib can send: publish_fields.js URL QUEUE
'use strict';
const amqp = require('amqplib');
const [url, queue] = process.argv.slice(2);
const typed = (type, value) => ({ '!': type, value });

const headers = {
  string: 'Grüße, 世界 🐇', empty: '', true: true, false: false, null: null,
  // A number without a type: the smallest that holds it.
  zero: 0, int8: -128, int16: -32768, int32: -2147483648, int64: -Math.pow(2, 63), 'int64 up': Math.pow(2, 53) - 1,
  double: 1.5, tenth: 0.1, 'double up': 1e300,
  '!int8': typed('int8', 127), '!byte': typed('byte', -1), '!uint8': typed('uint8', 255),
  '!unsignedbyte': typed('unsignedbyte', 128), '!int16': typed('int16', 32767), '!short': typed('short', -1),
  '!uint16': typed('uint16', 65535), '!unsignedshort': typed('unsignedshort', 32768),
  '!int32': typed('int32', 2147483647), '!int': typed('int', 1), '!uint32': typed('uint32', 4294967295),
  '!unsignedint': typed('unsignedint', 2147483648), '!int64': typed('int64', 5), '!long': typed('long', -5),
  '!float': typed('float', 1.5), '!float whole': typed('float', 2), '!double': typed('double', -2.25),
  '!float64': typed('float64', 3), '!double minus zero': typed('double', -0),
  '!timestamp': typed('timestamp', 1700000000), '!timestamp zero': typed('timestamp', 0),
  '!timestamp ms': typed('timestamp', 1700000000000), '!timestamp far': typed('timestamp', Math.pow(2, 63)),
  '!decimal': typed('decimal', { places: 2, digits: 150 }),
  '!decimal up': typed('decimal', { places: 255, digits: 4294967295 }),
  bytes: Buffer.from([0, 255, 128]), 'no bytes': Buffer.alloc(0),
  array: ['a', 1, 1.5, true, null, [], ['b'], { c: typed('timestamp', 7) }, Buffer.from('x')], 'no array': [],
  table: { name: 'n', inner: { deep: [{ deeper: typed('decimal', { places: 0, digits: 1 }) }] }, null: null }, 'no table': {},
};
const options = {
  headers, contentType: 'application/json', contentEncoding: 'utf-8', persistent: true, priority: 3, correlationId: 'c',
  replyTo: 'r', expiration: '60000', messageId: 'm', timestamp: 1700000000, type: 't', appId: 'a',
};

(async () => {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  channel.sendToQueue(queue, Buffer.from('{}'), options);
  await channel.waitForConfirms();
  await connection.close();
})();
