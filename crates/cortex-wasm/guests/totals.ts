// Adds CSV up: for each value of the first column, how many rows there are and the total of the last column.

class Total {
  rows: i32 = 0;
  hundredths: i64 = 0;
}

// Returns where the totals are as CSV, `pointer << 32 | length`, or 0 if a row's last column is not a number with at
// most two decimals. It is an ArrayBuffer, which lasts until the next call unless it is pinned.
export function transform(pointer: usize, length: i32): u64 {
  const rows = parse(String.UTF8.decodeUnsafe(pointer, length));
  const totals = new Map<string, Total>();
  // The first row has the names.
  for (let i = 1; i < rows.length; i++) {
    const row = rows[i];
    const amount = hundredths(row[row.length - 1]);
    if (amount == i64.MIN_VALUE) return 0;
    if (!totals.has(row[0])) totals.set(row[0], new Total());
    const total = totals.get(row[0]);
    total.rows += 1;
    total.hundredths += amount;
  }
  const names = totals.keys().sort();
  let out = "name,rows,total\n";
  for (let i = 0; i < names.length; i++) {
    const total = totals.get(names[i]);
    out += quote(names[i]) + "," + total.rows.toString() + "," + decimal(total.hundredths) + "\n";
  }
  const bytes = String.UTF8.encode(out);
  return ((changetype<usize>(bytes) as u64) << 32) | (bytes.byteLength as u64);
}

// Reads fields as RFC 4180 writes them. Rows without any are left out.
function parse(text: string): Array<Array<string>> {
  const rows: Array<Array<string>> = [];
  let row: Array<string> = [];
  let at = 0;
  while (at < text.length) {
    let field = "";
    if (text.charAt(at) == '"') {
      at++;
      while (at < text.length) {
        let end = text.indexOf('"', at);
        if (end < 0) end = text.length;
        field += text.substring(at, end);
        at = end + 1;
        if (text.charAt(at) != '"') break;
        field += '"';
        at++;
      }
    }
    const from = at;
    while (at < text.length && text.charAt(at) != "," && text.charAt(at) != "\n") at++;
    field += text.substring(from, at);
    const last = at >= text.length || text.charAt(at) == "\n";
    if (last && field.endsWith("\r")) field = field.substring(0, field.length - 1);
    row.push(field);
    at++;
    if (last) {
      if (row.length > 1 || row[0].length > 0) rows.push(row);
      row = [];
    }
  }
  if (row.length > 0) rows.push(row);
  return rows;
}

// Reads `-12.5` as -1250, or returns the least of all numbers.
function hundredths(text: string): i64 {
  const number = text.trim();
  const negative = number.startsWith("-");
  let value: i64 = 0;
  let digits = 0;
  let decimals = -1;
  for (let i = negative ? 1 : 0; i < number.length; i++) {
    const code = number.charCodeAt(i);
    if (code == 0x2e && decimals < 0) {
      decimals = 0;
    } else if (code >= 0x30 && code <= 0x39 && digits < 15 && decimals < 2) {
      value = value * 10 + (code - 0x30);
      digits++;
      if (decimals >= 0) decimals++;
    } else {
      return i64.MIN_VALUE;
    }
  }
  if (digits == 0) return i64.MIN_VALUE;
  for (let i = decimals < 0 ? 0 : decimals; i < 2; i++) value *= 10;
  return negative ? -value : value;
}

function decimal(hundredths: i64): string {
  const sign = hundredths < 0 ? "-" : "";
  const whole = hundredths < 0 ? -hundredths : hundredths;
  return sign + (whole / 100).toString() + "." + (whole % 100).toString().padStart(2, "0");
}

function quote(field: string): string {
  const plain = field.indexOf(",") < 0 && field.indexOf('"') < 0 && field.indexOf("\n") < 0;
  return plain ? field : '"' + field.replaceAll('"', '""') + '"';
}
