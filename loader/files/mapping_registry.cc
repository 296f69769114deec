// Invariants:
// 1. Slots are never freed, so the handler may walk them at any time. They are reused.
// 2. A slot's version is odd while it is being written; the handler skips what changed under it.
// 3. An entry is gone before its memory is unmapped, and made after it is mapped: so the slot that
//    a faulting address lies in is in use for as long as the fault lasts, and its path with it.
#include "loader/files/mapping_registry.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <utility>

namespace mneme::loader {
namespace {

struct Slot {
  std::atomic<uint32_t> version{0};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: not in use
  std::atomic<int64_t> offset{0};
  std::atomic<const char*> path{nullptr};
  Slot* next_free = nullptr;  // under registry_mutex; the handler does not look at it
};

// A model is some dozens of shards and a few blocks of a table for each.
constexpr int kChunkSlots = 64;

struct Chunk {
  Slot slots[kChunkSlots];
  std::atomic<Chunk*> next{nullptr};
};

Chunk first_chunk;
std::mutex registry_mutex;  // of those who write slots
std::atomic<int64_t> entries{0};

// Under registry_mutex: slots that were in use and are not, one behind the other, and where the
// ones begin that never were.
Slot* free_slots = nullptr;
Chunk* last_chunk = &first_chunk;
int used_of_last = 0;

// Under registry_mutex.
Slot* TakeSlot() {
  if (free_slots != nullptr) return std::exchange(free_slots, free_slots->next_free);
  if (used_of_last == kChunkSlots) {
    auto* chunk = new Chunk;  // stays for good
    last_chunk->next.store(chunk, std::memory_order_release);
    last_chunk = chunk;
    used_of_last = 0;
  }
  return &last_chunk->slots[used_of_last++];
}

// Under registry_mutex. The path is the slot's. A reader that acquires one of the stored values
// sees an odd version too; a fence would do the same, but ThreadSanitizer knows none.
void Write(Slot* slot, std::span<const uint8_t> bytes, const char* path, int64_t offset) {
  slot->version.fetch_add(1, std::memory_order_acq_rel);
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  slot->begin.store(begin, std::memory_order_release);
  slot->end.store(bytes.empty() ? 0 : begin + bytes.size(), std::memory_order_release);
  slot->offset.store(offset, std::memory_order_release);
  slot->path.store(path, std::memory_order_release);
  slot->version.fetch_add(1, std::memory_order_release);
}

struct Found {
  const char* path = nullptr;
  int64_t byte = 0;  // of the file
};

// Reads slots only; for the handler.
bool Find(uintptr_t address, Found* found) {
  for (Chunk* chunk = &first_chunk; chunk != nullptr;
       chunk = chunk->next.load(std::memory_order_acquire)) {
    for (Slot& slot : chunk->slots) {
      const uint32_t version = slot.version.load(std::memory_order_acquire);
      const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      const uintptr_t end = slot.end.load(std::memory_order_acquire);
      found->path = slot.path.load(std::memory_order_acquire);
      found->byte =
          slot.offset.load(std::memory_order_acquire) + static_cast<int64_t>(address - begin);
      const bool steady = version % 2 == 0 && slot.version.load() == version;
      if (steady && begin <= address && address < end) return true;
    }
  }
  return false;
}

// A line in a buffer of its own: nothing that formats text may be called in a handler.
class Line {
 public:
  void Add(const char* text) {
    while (*text != '\0' && size_ + 1 < sizeof text_) text_[size_++] = *text++;
  }
  void Add(int64_t number) {
    char digits[24];
    char* at = digits + sizeof digits;
    *--at = '\0';
    do {
      *--at = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    Add(at);
  }
  void WriteTo(int fd) {
    text_[size_++] = '\n';
    for (size_t done = 0; done < size_;) {
      const ssize_t count = write(fd, text_ + done, size_ - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      done += static_cast<size_t>(count);
    }
  }

 private:
  size_t size_ = 0;
  char text_[PATH_MAX + 256];
};

struct sigaction before;  // what was in force; written before the handler is
std::atomic<bool> telling{false};
std::atomic<bool> told{false};

void OnFault(int signal, siginfo_t* info, void* /*context*/) {
  const int error = errno;
  Found found;
  // A positive code is the kernel's own: only then is there an address.
  if (info->si_code > 0 && Find(reinterpret_cast<uintptr_t>(info->si_addr), &found)) {
    if (!telling.exchange(true)) {
      Line line;
      line.Add("mneme: ");
      line.Add(found.path);
      line.Add(": byte ");
      line.Add(found.byte);
      line.Add(
          " cannot be read while the file is mapped: it was cut short, or its disk failed. A file "
          "in use is replaced by renaming another over it");
      line.WriteTo(STDERR_FILENO);
      told.store(true);
    }
    // Another thread's message must be out before this one ends the process.
    const timespec moment = {.tv_sec = 0, .tv_nsec = 1'000'000};
    while (!told.load()) nanosleep(&moment, nullptr);
    struct sigaction deadly = {};
    deadly.sa_handler = SIG_DFL;
    sigaction(signal, &deadly, nullptr);
  } else {
    sigaction(signal, &before, nullptr);
    if (info->si_code <= 0) raise(signal);  // nothing else would bring it again
  }
  // The instruction is tried again, and faults again.
  errno = error;
}

}  // namespace

MappingEntry::MappingEntry(std::span<const uint8_t> bytes, const std::string& path,
                           int64_t offset) {
  if (bytes.empty()) return;
  const char* name = strdup(path.c_str());
  const std::lock_guard lock(registry_mutex);
  Slot* slot = TakeSlot();
  Write(slot, bytes, name, offset);
  slot_ = slot;
  entries.fetch_add(1);
}

MappingEntry::MappingEntry(MappingEntry&& other) noexcept { *this = std::move(other); }

MappingEntry& MappingEntry::operator=(MappingEntry&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

MappingEntry::~MappingEntry() {
  if (slot_ == nullptr) return;
  auto* slot = static_cast<Slot*>(slot_);
  const std::lock_guard lock(registry_mutex);
  const char* name = slot->path.load(std::memory_order_relaxed);
  Write(slot, {}, nullptr, 0);
  slot->next_free = std::exchange(free_slots, slot);
  free(const_cast<char*>(name));
  entries.fetch_sub(1);
}

int64_t MappingEntries() { return entries.load(); }

void ReportMappingFaults() {
  static std::once_flag once;
  std::call_once(once, [] {
    sigaction(SIGBUS, nullptr, &before);
    struct sigaction report = {};
    report.sa_sigaction = OnFault;
    // SA_NODEFER is not set: a fault inside the handler ends the process.
    report.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&report.sa_mask);
    sigaction(SIGBUS, &report, nullptr);
  });
}

}  // namespace mneme::loader
