//! Kernel images and modules in the forms in which distributions ship them.

use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::architecture::Architecture;

/// Magic of an arm64 Image, at this offset (Linux, Documentation/arm64/booting.rst).
const IMAGE_MAGIC: &[u8] = b"ARM\x64";
const IMAGE_MAGIC_OFFSET: usize = 0x38;
/// The head of an x86 bzImage says this, at this offset (Linux, Documentation/arch/x86/boot.rst).
const BZIMAGE_MAGIC: &[u8] = b"HdrS";
const BZIMAGE_MAGIC_OFFSET: usize = 0x202;
/// An ELF file of 64 bits for x86-64: magic and class, and at 18 the machine (ELF-64 object file format).
const ELF64_MAGIC: &[u8] = &[0x7f, b'E', b'L', b'F', 2];
const ELF_MACHINE_OFFSET: usize = 18;
const ELF_MACHINE_X86_64: &[u8] = &[62, 0];
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// An EFI zboot image: "zimg" at 4, then offset and size of the payload (u32 each), and at 24 the name of its compression.
const ZBOOT_MAGIC: &[u8] = b"zimg";

/// Whether these are the first bytes of a raw arm64 Image.
pub(crate) fn is_arm64_image(bytes: &[u8]) -> bool {
    bytes.get(IMAGE_MAGIC_OFFSET..).is_some_and(|rest| rest.starts_with(IMAGE_MAGIC))
}

/// How many of a kernel's first bytes tell what it is.
pub(crate) const HEAD: u64 = 0x210;

/// Whether these are the first bytes of a kernel for x86-64: a bzImage, or an ELF file.
pub(crate) fn is_amd64_kernel(bytes: &[u8]) -> bool {
    let has = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    has(BZIMAGE_MAGIC_OFFSET, BZIMAGE_MAGIC) || (has(0, ELF64_MAGIC) && has(ELF_MACHINE_OFFSET, ELF_MACHINE_X86_64))
}

/// The kernel inside `bytes` in the form in which it is started. For x86-64: as it is; the raw arm64 Image: as it is, gzip, or an EFI zboot
/// image around gzip.
pub(crate) fn unwrap_kernel(bytes: Vec<u8>, architecture: Architecture) -> Result<Vec<u8>> {
    if architecture == Architecture::Amd64 {
        return if is_amd64_kernel(&bytes) { Ok(bytes) } else { bail!("the kernel is no bzImage") };
    }
    if is_arm64_image(&bytes) {
        return Ok(bytes);
    }
    let compressed = if bytes.starts_with(GZIP_MAGIC) { Some(bytes.as_slice()) } else { zboot_payload(&bytes)? };
    let Some(compressed) = compressed else { bail!("the kernel is neither an arm64 Image nor a compressed one") };
    let mut image = Vec::new();
    flate2::read::GzDecoder::new(compressed).read_to_end(&mut image).context("the compressed kernel is damaged")?;
    if is_arm64_image(&image) { Ok(image) } else { bail!("the compressed kernel holds no arm64 Image") }
}

fn zboot_payload(bytes: &[u8]) -> Result<Option<&[u8]>> {
    if !bytes.get(4..).is_some_and(|rest| rest.starts_with(ZBOOT_MAGIC)) {
        return Ok(None);
    }
    let word = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let payload = word(8).zip(word(12)).and_then(|(start, size)| bytes.get(start..)?.get(..size));
    let payload = payload.ok_or_else(|| anyhow!("the EFI zboot kernel is cut off"))?;
    if !payload.starts_with(GZIP_MAGIC) {
        let name: String = bytes.iter().skip(24).take(32).take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        bail!("the EFI zboot kernel is compressed with {name}; only gzip is supported: unpack it to a raw Image first");
    }
    Ok(Some(payload))
}

/// The content of an xz file.
pub(crate) fn unpack_xz(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    lzma_rs::xz_decompress(&mut &*bytes, &mut content).map_err(|error| anyhow!("{error:?}"))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn image() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[IMAGE_MAGIC_OFFSET..IMAGE_MAGIC_OFFSET + 4].copy_from_slice(IMAGE_MAGIC);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zboot(payload: &[u8]) -> Vec<u8> {
        let mut bytes = b"MZ\0\0zimg".to_vec();
        bytes.extend(64_u32.to_le_bytes());
        bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.resize(24, 0);
        bytes.extend(b"gzip\0");
        bytes.resize(64, 0);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn every_form_of_kernel_becomes_the_raw_image() {
        for form in [image(), gzip(&image()), zboot(&gzip(&image()))] {
            assert_eq!(unwrap_kernel(form, Architecture::Arm64).unwrap(), image());
        }
    }

    #[test]
    fn kernels_for_x86_are_told_by_their_heads() {
        let mut image = vec![0; 1024];
        assert!(!is_amd64_kernel(&image) && !is_amd64_kernel(&image[..0x203]));
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(is_amd64_kernel(&image));
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        assert!(!is_amd64_kernel(&elf));
        elf[18] = 62;
        assert!(is_amd64_kernel(&elf));
        assert_eq!(unwrap_kernel(elf.clone(), Architecture::Amd64).unwrap(), elf);
        assert!(unwrap_kernel(gzip(&elf), Architecture::Amd64).is_err());
        elf[4] = 1;
        assert!(!is_amd64_kernel(&elf), "32 bits");
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(unwrap_kernel(vec![0; 100], Architecture::Arm64).is_err());
        assert!(unwrap_kernel(gzip(b"text"), Architecture::Arm64).is_err());
        let mut cut = zboot(&gzip(&image()));
        cut.truncate(70);
        assert!(unwrap_kernel(cut, Architecture::Arm64).unwrap_err().to_string().contains("cut off"));
        assert!(unwrap_kernel(zboot(b"other"), Architecture::Arm64).unwrap_err().to_string().contains("compressed with gzip"));
    }

    #[test]
    fn modules_in_xz_are_unpacked() {
        let mut packed = Vec::new();
        lzma_rs::xz_compress(&mut &b"module"[..], &mut packed).unwrap();
        assert_eq!(unpack_xz(&packed).unwrap(), b"module");
        assert!(unpack_xz(b"no xz").is_err());
    }
}
