// How weights are packed.
#ifndef MNEME_LOADER_PACK_PACK_OPTIONS_H_
#define MNEME_LOADER_PACK_PACK_OPTIONS_H_

namespace mneme::loader {

struct PackOptions {
  // Rounds f32 matrices, keys and tables to bf16 at load (as if the checkpoint had been stored so).
  bool round_to_bf16 = false;
  // Widens bf16 to f32: the reference for a rounded model.
  bool widen_to_f32 = false;
  // What is copied, from 2 MiB on, lies on huge pages.
  bool huge_pages = true;
  // Tables and matrices that could stay where their files are mapped are copied, too.
  bool copy_mapped = false;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_PACK_PACK_OPTIONS_H_
