// passphrase [COUNT [WORDS]]: prints COUNT passphrases of WORDS made-up words, 18 random bits each. A WASI program.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORDS_MOST = 16, SYLLABLES = 3 };

// Powers of two of each, so that no syllable is likelier than another.
static const char CONSONANTS[] = "bdfghjklmnprstvz", VOWELS[] = "aeiu";

static unsigned long number(const char *text, unsigned long most) {
  char *end;
  unsigned long number = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || number < 1 || number > most) {
    fprintf(stderr, "passphrase: %s is not a number from 1 to %lu\n", text, most);
    exit(2);
  }
  return number;
}

int main(int count, char **arguments) {
  if (count > 3) {
    fputs("usage: passphrase [COUNT [WORDS]]\n", stderr);
    return 2;
  }
  unsigned long phrases = count > 1 ? number(arguments[1], 1000) : 1;
  unsigned long words = count > 2 ? number(arguments[2], WORDS_MOST) : 4;
  for (unsigned long phrase = 0; phrase < phrases; phrase++) {
    unsigned char random[WORDS_MOST * SYLLABLES];
    if (getentropy(random, words * SYLLABLES)) {
      perror("passphrase");
      return 1;
    }
    for (unsigned long at = 0; at < words * SYLLABLES; at++) {
      if (at && at % SYLLABLES == 0) putchar('-');
      putchar(CONSONANTS[random[at] & 15]);
      putchar(VOWELS[random[at] >> 4 & 3]);
    }
    putchar('\n');
  }
  return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
