// Names of pickle opcodes, for messages.
#ifndef MNEME_LOADER_TORCH_PICKLE_PICKLE_OPCODES_H_
#define MNEME_LOADER_TORCH_PICKLE_PICKLE_OPCODES_H_

#include <cstdint>

namespace mneme::loader {

// "GLOBAL" for 'c', as Python's pickletools names them; "unknown" for bytes that are no opcode.
const char* PickleOpcodeName(uint8_t opcode);

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TORCH_PICKLE_PICKLE_OPCODES_H_
