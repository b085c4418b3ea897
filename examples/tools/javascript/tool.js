// A tool in JavaScript: checks order numbers, and writes them as the shop does.

const PARAMETERS = {
  type: 'object',
  properties: {
    order_number: { type: 'string', description: 'As the customer wrote it.' },
  },
  required: ['order_number'],
  additionalProperties: false,
};

const OUTPUT = {
  type: 'object',
  properties: {
    valid: { type: 'boolean' },
    order_number: { type: 'string' },
    reason: { type: 'string' },
  },
  required: ['valid'],
};

// The last digit is the sum of the others, by their places, modulo ten.
function checkDigit(digits) {
  return [...digits].reduce((sum, digit, place) => sum + Number(digit) * (place % 2 ? 3 : 1), 0) % 10;
}

function checkOrderNumber({ order_number: written }) {
  const plain = written.toUpperCase().replace(/[\s.-]/g, '');
  const parts = /^([A-Z]{1,2})(\d{4,8})(\d)$/.exec(plain);
  if (!parts) return { valid: false, reason: 'an order number is one or two letters and five to nine digits' };
  const [, letters, digits, check] = parts;
  if (checkDigit(digits) !== Number(check)) return { valid: false, reason: 'its last digit does not fit the others' };
  return { valid: true, order_number: `${letters}-${digits}-${check}` };
}

// The interface `waggle:tool/tool`. What is thrown is the `error` of the interface: a variant has a `tag` and a `val`.
export const tool = {
  describe() {
    return [
      {
        name: 'check_order_number',
        description: 'Says whether an order number can be one, and writes it as the shop does, such as AB-12345-8.',
        parameters: JSON.stringify(PARAMETERS),
        output: JSON.stringify(OUTPUT),
        sideEffects: false,
        idempotent: true,
        needsApproval: false,
      },
    ];
  },

  call(invocation) {
    if (invocation.name !== 'check_order_number') throw { tag: 'no-such-tool' };
    return JSON.stringify(checkOrderNumber(JSON.parse(invocation.arguments)));
  },
};
