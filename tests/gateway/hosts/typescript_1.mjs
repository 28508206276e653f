// A host on the TypeScript SDK 1.x, in the era that it knows.
import { pathToFileURL } from 'node:url';
import { CAPABILITIES, answers, logged, order, run, until, updated } from './typescript.mjs';

const sdk = (name) => import(pathToFileURL(`${order.modules}/@modelcontextprotocol/sdk/dist/esm/${name}.js`));
const { Client } = await sdk('client/index');
const { StdioClientTransport } = await sdk('client/stdio');
const { StreamableHTTPClientTransport } = await sdk('client/streamableHttp');
const types = await sdk('types');

const client = new Client({ name: 'host', version: '1' }, { capabilities: CAPABILITIES });
client.setRequestHandler(types.ElicitRequestSchema, answers['elicitation/create']);
client.setRequestHandler(types.CreateMessageRequestSchema, answers['sampling/createMessage']);
client.setRequestHandler(types.ListRootsRequestSchema, answers['roots/list']);
client.setNotificationHandler(types.LoggingMessageNotificationSchema, ({ params }) => logged.push(params.data));
client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, ({ params }) => updated.push(params.uri));
const transport = order.url
  ? new StreamableHTTPClientTransport(new URL(order.url))
  : new StdioClientTransport({ command: order.command[0], args: order.command.slice(1), env: process.env, stderr: 'ignore' });
await client.connect(transport);

const subscribed = async (uri, change) => {
  await client.subscribeResource({ uri });
  await change();
  await until(() => updated.length);
  await client.unsubscribeResource({ uri });
  await change();
  return updated;
};
await run(client, '2025-11-25', subscribed);
