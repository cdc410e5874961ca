// Redacts texts: e-mail addresses become [email], numbers of payment cards [card]. The heap is that of wasi-libc.

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// The longest local part and domain (RFC 5321, 4.5.3.1), and how many digits the number of a card has (ISO/IEC 7812).
enum { LOCAL = 64, DOMAIN = 255, CARD_LEAST = 13, CARD_MOST = 19 };

struct text {
  char *bytes;
  size_t length, capacity;
};

static bool append(struct text *text, const char *bytes, size_t length) {
  if (length > text->capacity - text->length) {
    size_t capacity = text->length + length;
    if (capacity < text->capacity * 2) capacity = text->capacity * 2;
    char *moved = realloc(text->bytes, capacity);
    if (!moved) return false;
    text->bytes = moved;
    text->capacity = capacity;
  }
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool is_word(char c) { return is_digit(c) || is_letter(c); }

static bool is_local(char c) { return is_word(c) || (c && strchr("._%+-", c)); }

// Returns how long the address is that starts here, or 0.
static size_t email(const char *at, const char *end) {
  const char *now = at;
  while (now < end && is_local(*now) && now - at <= LOCAL) now++;
  if (now == at || now - at > LOCAL || now == end || *now != '@') return 0;
  const char *domain = ++now;
  // Where the last label ends that can be the last one of a domain: at least two characters, not only digits.
  const char *whole = NULL;
  size_t labels = 0;
  while (now - domain < DOMAIN) {
    const char *label = now;
    bool letters = false;
    while (now < end && (is_word(*now) || *now == '-') && now - domain <= DOMAIN) letters |= is_letter(*now++);
    if (now == label) break;
    labels++;
    if (labels > 1 && letters && now - label > 1) whole = now;
    if (now == end || *now != '.') break;
    now++;
  }
  return whole ? (size_t)(whole - at) : 0;
}

// Returns how long the number is that starts here, or 0. Groups may be parted by a space or a dash each.
static size_t card(const char *at, const char *end) {
  char digits[CARD_MOST];
  int count = 0;
  size_t found = 0;
  for (const char *now = at; now < end && is_digit(*now) && count < CARD_MOST;) {
    digits[count++] = *now++;
    bool ends = now == end || !is_digit(*now);
    if (ends && count >= CARD_LEAST) {
      int sum = 0;
      for (int i = 0; i < count; i++) {
        int digit = digits[count - 1 - i] - '0';
        if (i % 2) digit = digit > 4 ? digit * 2 - 9 : digit * 2;
        sum += digit;
      }
      if (sum % 10 == 0) found = (size_t)(now - at);
    }
    if (ends && now < end && (*now == ' ' || *now == '-')) now++;
  }
  return found;
}

// Returns where the redacted text is, `pointer << 32 | length`, or 0 if there is no memory. It is the caller's to free.
__attribute__((export_name("transform"))) uint64_t transform(const char *bytes, size_t length) {
  struct text out = {malloc(length + 1), 0, length + 1};
  if (!out.bytes) return 0;
  const char *end = bytes + length;
  const char *now = bytes;
  while (now < end) {
    bool starts = now == bytes || !is_word(now[-1]);
    const char *instead = "[card]";
    size_t found = starts && is_digit(*now) ? card(now, end) : 0;
    if (!found && starts && is_local(*now)) {
      instead = "[email]";
      found = email(now, end);
    }
    bool written = found ? append(&out, instead, strlen(instead)) : append(&out, now, 1);
    if (!written) {
      free(out.bytes);
      return 0;
    }
    now += found ? found : 1;
  }
  return (uint64_t)(uintptr_t)out.bytes << 32 | out.length;
}
