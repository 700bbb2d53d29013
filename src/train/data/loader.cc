#include "train/data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/parallel.h"

namespace fovea::train {
namespace {

// One prepared picture, or why there is none.
struct Item {
  bool is_ready = false;
  bool is_end = false;
  DataPosition after;
  std::string key, caption, failure;
  std::vector<std::string> all_captions;
  SamplePlace place;
  int64_t label = -1;
  Tensor pixels;  // [Y,X,3]
};

// `spec` for a picture that already has its final size.
media::PreprocessSpec WithoutGeometry(media::PreprocessSpec spec) {
  spec.do_resize = false;
  spec.do_center_crop = false;
  spec.crop_first_pct = 0;
  return spec;
}

}  // namespace

struct Loader::Impl {
  Impl(LoaderOptions given, const DataPosition& start)
      : options(std::move(given)),
        values_only(WithoutGeometry(options.preprocess)),
        items(static_cast<size_t>(std::max<int64_t>(1, options.ahead) + options.threads)),
        position(start) {
    OpenEpoch();
    const bool is_fresh = start.epoch == 0 && start.taken == 0;
    others = is_fresh ? options.process : options.processes - 1;
    SampleRef skipped;
    for (int64_t i = 0; i < start.taken; ++i) {
      Require(stream->Next(skipped), "[data] the checkpoint was ", start.taken, " samples into epoch ", start.epoch,
              ", but there are only ", i, "; hint: the data changed since, start anew without --resume");
    }
    for (int i = 0; i < options.threads; ++i) threads.emplace_back([this] { Work(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      is_stopped = true;
    }
    room.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void OpenEpoch() {
    stream.emplace(options.filter, options.shuffle_buffer, options.seed, position.epoch);
    is_epoch_empty = true;
  }

  // The next reference of this process; false at the end. With the mutex held.
  bool TakeReference(SampleRef& ref) {
    for (int64_t i = 0; i < others; ++i) {
      if (!TakeAny(ref)) return false;
    }
    others = options.processes - 1;
    return TakeAny(ref);
  }

  bool TakeAny(SampleRef& ref) {
    while (!stream->Next(ref)) {
      if (!options.is_endless) return false;
      Require(!is_epoch_empty || position.taken > 0, "[data] no sample in ", base::Join(options.filter.paths));
      position = {.epoch = position.epoch + 1, .taken = 0};
      OpenEpoch();
    }
    is_epoch_empty = false;
    ++position.taken;
    return true;
  }

  void Work() {
    const base::ThreadLimit limit(1);
    std::unique_lock lock(mutex);
    for (;;) {
      room.wait(lock, [&] { return is_stopped || issued < taken + items.size(); });
      if (is_stopped || is_exhausted) return;
      Item item;
      SampleRef ref;
      try {
        item.is_end = is_exhausted = !TakeReference(ref);
      } catch (...) {
        fatal = std::current_exception();
        item.is_end = is_exhausted = true;
      }
      item.after = position;
      const size_t place = issued++ % items.size();
      lock.unlock();
      if (!item.is_end) Prepare(ref, item);
      lock.lock();
      item.is_ready = true;
      items[place] = std::move(item);
      filled.notify_one();
    }
  }

  void Prepare(const SampleRef& ref, Item& item) const {
    item.key = ref.set->Key(ref.index);
    item.label = ref.label;
    item.place = {.path = ref.path, .index = ref.index};
    Random random(MixSeeds(MixSeeds(options.seed + 1, static_cast<uint64_t>(item.after.epoch)),
                           static_cast<uint64_t>(item.after.taken)));
    try {
      if (options.filter.needs_caption) {
        std::vector<std::string> captions = ref.set->Captions(ref.index);
        item.caption = captions[static_cast<size_t>(random.Below(static_cast<int64_t>(captions.size())))];
        if (options.takes_all_captions) item.all_captions = std::move(captions);
      }
      if (!options.needs_pixels) return;
      const Image image = ref.set->Picture(ref.index);
      if (options.augment.is_on) {
        const media::PixelSize size = media::OutputSize(options.preprocess, image.width, image.height);
        item.pixels = media::Preprocess(
            Augment(image, size.width, size.height, options.preprocess.resample, options.augment, random), values_only);
      } else {
        item.pixels = media::Preprocess(image, options.preprocess);
      }
    } catch (const Error& error) {
      item.failure = error.message();
    } catch (const std::bad_alloc&) {
      item.failure = "out of memory";
    }
  }

  Item Take() {
    std::unique_lock lock(mutex);
    Item& slot = items[taken % items.size()];
    filled.wait(lock, [&] { return slot.is_ready; });
    if (slot.is_end) {
      if (fatal) std::rethrow_exception(fatal);
      return slot;  // stays: every later call ends, too
    }
    Item item = std::move(slot);
    slot = {};
    ++taken;
    room.notify_one();
    return item;
  }

  const LoaderOptions options;
  const media::PreprocessSpec values_only;
  std::mutex mutex;
  std::condition_variable room, filled;
  std::vector<Item> items;       // a ring: number n lies at n % size
  size_t issued = 0, taken = 0;  // numbers given to threads, and handed out
  int64_t others = 0;            // references of other processes before the next of this one
  DataPosition position;         // of what was issued
  std::optional<SampleStream> stream;
  bool is_epoch_empty = true, is_exhausted = false, is_stopped = false;
  std::exception_ptr fatal;
  std::vector<std::thread> threads;
};

Loader::Loader(LoaderOptions options, const DataPosition& start)
    : impl_(std::make_unique<Impl>(std::move(options), start)), position_(start) {}

Loader::~Loader() = default;

Image Loader::Original(const SamplePlace& place) const {
  const auto& paths = impl_->options.filter.paths;
  Require(place.path >= 0 && static_cast<size_t>(place.path) < paths.size(), "[data] expected a path below ",
          paths.size(), ", got ", place.path);
  return OpenSamples(paths[static_cast<size_t>(place.path)])->Picture(place.index);
}

bool Loader::Next(int64_t size, Batch& batch) {
  batch = {};
  std::vector<Item> items;
  const DataPosition before = position_;
  const auto start = std::chrono::steady_clock::now();
  while (static_cast<int64_t>(items.size()) < size) {
    Item item = impl_->Take();
    if (item.is_end) break;
    position_ = item.after;
    if (item.failure.empty()) {
      items.push_back(std::move(item));
    } else {
      if (impl_->options.on_failure) impl_->options.on_failure(item.key, item.failure);
      Require(position_.epoch <= before.epoch + 1 || !items.empty(),
              "[data] no picture could be read in a whole epoch, the last because of: ", item.failure);
    }
  }
  seconds_waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (items.empty()) return false;
  const bool has_pixels = impl_->options.needs_pixels;
  const Shape shape = items[0].pixels.shape();
  if (has_pixels) batch.pixels = Tensor::Empty(shape.Inserted(0, static_cast<int64_t>(items.size())));
  batch.labels = Tensor::Empty({static_cast<int64_t>(items.size())}, DType::kI64);
  float* to = has_pixels ? batch.pixels.mutable_data<float>() : nullptr;
  for (size_t i = 0; i < items.size(); ++i) {
    Item& item = items[i];
    Require(item.pixels.shape() == shape, "[data] the preparation leaves pictures of ", shape, " and ",
            item.pixels.shape(), " (", item.key, "), which do not fit into one batch; hint: set data.image_size");
    if (has_pixels)
      std::memcpy(to + static_cast<int64_t>(i) * shape.numel(), item.pixels.data<float>(),
                  static_cast<size_t>(item.pixels.size_bytes()));
    batch.labels.mutable_data<int64_t>()[i] = item.label;
    batch.keys.push_back(std::move(item.key));
    batch.places.push_back(item.place);
    if (impl_->options.filter.needs_caption) batch.captions.push_back(std::move(item.caption));
    if (impl_->options.takes_all_captions) batch.all_captions.push_back(std::move(item.all_captions));
  }
  return true;
}

}  // namespace fovea::train
