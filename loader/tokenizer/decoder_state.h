// What a decoder remembers between two tokens of a stream.
#ifndef MNEME_LOADER_TOKENIZER_DECODER_STATE_H_
#define MNEME_LOADER_TOKENIZER_DECODER_STATE_H_

#include <cstdint>

namespace mneme::loader {

// Trivially copyable, so a stream can be saved and continued. A default one stands at a text's
// start.
struct DecoderState {
  // Bytes of a character that is not complete yet: always the proper prefix of a well-formed one.
  uint8_t pending[4] = {};
  uint8_t pending_size = 0;
  // The run of byte tokens at hand is ill-formed: every byte of it is U+FFFD.
  bool run_is_bad = false;
  // No token has been decoded yet.
  bool at_first_token = true;
  // How many leading characters have been stripped; int32 max once another one was seen.
  int32_t stripped_at_start = 0;
  // Trailing characters that are held back because they may have to be stripped.
  int32_t held_at_end = 0;
  // Of these, how many belong to the run of byte tokens at hand: should it turn out ill-formed,
  // they are U+FFFD, too.
  int32_t run_stripped = 0, run_held = 0;
  // Characters U+FFFD that the run spells: sent as one, but three of them should it be ill-formed.
  int32_t run_replacements = 0;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TOKENIZER_DECODER_STATE_H_
