#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace fovea::base {
namespace {

// Closes a descriptor when the scope ends.
struct FileDescriptor {
  int fd;
  explicit FileDescriptor(int fd_in) : fd(fd_in) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void FailWithErrno(std::string_view action, const std::string& path, int error) {
  Fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "[file] cannot ", action, " ", PrintableUtf8(path),
       ": ", std::strerror(error));
}

// Opens a regular file for reading and returns its size. O_NONBLOCK: opening a pipe must not hang before it is refused.
int64_t OpenRegular(const std::string& path, FileDescriptor& file) {
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0) FailWithErrno("open", path, errno);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) FailWithErrno("stat", path, errno);
  if (!S_ISREG(info.st_mode)) {
    Fail(ErrorCode::kIo, "[file] ", PrintableUtf8(path), " is ",
         S_ISDIR(info.st_mode) ? "a directory" : "not a regular file");
  }
  return info.st_size;
}

}  // namespace

std::vector<uint8_t> ReadFile(const std::string& path, int64_t limit_bytes) {
  FileDescriptor file(-1);
  const int64_t size = OpenRegular(path, file);
  if (size > limit_bytes) {
    Fail(ErrorCode::kResourceExhausted, "[file] ", PrintableUtf8(path), " has ", size, " bytes, the limit is ",
         limit_bytes);
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FailWithErrno("read", path, errno);
    if (got == 0) break;  // the file shrank: what is there is what we return
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

std::string ReadTextFile(const std::string& path, int64_t limit_bytes) {
  const std::vector<uint8_t> bytes = ReadFile(path, limit_bytes);
  return std::string(bytes.begin(), bytes.end());
}

void WriteFileAtomically(const std::string& path, std::span<const uint8_t> bytes) {
  WriteFileAtomically(path, std::span<const std::span<const uint8_t>>(&bytes, 1));
}

void WriteFileAtomically(const std::string& path, std::span<const std::span<const uint8_t>> pieces) {
  std::string temporary = path + ".XXXXXX";
  FileDescriptor file(::mkstemp(temporary.data()));
  if (file.fd < 0) FailWithErrno("create", temporary, errno);
  const auto fail = [&](std::string_view action) {
    const int error = errno;
    ::unlink(temporary.c_str());
    FailWithErrno(action, path, error);
  };
  for (std::span<const uint8_t> rest : pieces) {
    while (!rest.empty()) {
      const ssize_t put = ::write(file.fd, rest.data(), rest.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail("write");
      rest = rest.subspan(static_cast<size_t>(put));
    }
  }
  if (::fchmod(file.fd, 0644) != 0) fail("set the mode of");
  if (::fsync(file.fd) != 0) fail("sync");
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail("replace");
}

void WriteTextFileAtomically(const std::string& path, std::string_view text) {
  WriteFileAtomically(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::shared_ptr<const MappedFile> MappedFile::Open(const std::string& path) {
  FileDescriptor file(-1);
  const int64_t size = OpenRegular(path, file);
  const uint8_t* data = nullptr;
  if (size > 0) {
    void* address = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (address == MAP_FAILED) FailWithErrno("map", path, errno);
    data = static_cast<const uint8_t*>(address);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, static_cast<size_t>(size)));
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace fovea::base
