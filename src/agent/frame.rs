//! Frames: four bytes of length, then the message. Both ends use these, the agent blocking, the controller not.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::protocol::LONGEST_FRAME;

/// Returns the frame of a message.
///
/// # Errors
/// When it is longer than a frame may be.
pub fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= LONGEST_FRAME);
    let Some(length) = length else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {} MiB is more than the {} MiB that fit", frame.len() >> 20, LONGEST_FRAME >> 20),
        ));
    };
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Writes a message and flushes.
///
/// # Errors
/// As [`encode`], and when the other end is gone.
pub fn write<M: Serialize>(to: &mut impl Write, message: &M) -> io::Result<()> {
    to.write_all(&encode(message)?)?;
    to.flush()
}

/// Reads a message; `None` at the end of the stream.
///
/// # Errors
/// When the stream ends in the middle, or what comes is no message.
pub fn read<M: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = checked(head)?;
    let mut body = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut body)?;
    decode(length, &body).map(Some)
}

/// Reads a message; `None` at the end of the stream.
///
/// # Errors
/// As [`read`].
pub async fn read_async<M: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<M>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let length = checked(head)?;
    // The length is the other end's claim: room is made as the bytes come.
    let mut body = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut body).await?;
    decode(length, &body).map(Some)
}

fn checked(head: [u8; 4]) -> io::Result<u32> {
    let length = u32::from_be_bytes(head);
    if length > LONGEST_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is no message of ours"));
    }
    Ok(length)
}

fn decode<M: DeserializeOwned>(length: u32, body: &[u8]) -> io::Result<M> {
    if body.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(body).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what came is no message of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::{FromAgent, ToAgent};

    #[test]
    fn a_message_survives_its_frame() {
        let mut wire = Vec::new();
        write(&mut wire, &ToAgent::Hello { version: 7, run: None, lease: false, linger: 0 }).expect("writes");
        write(&mut wire, &ToAgent::Cancel).expect("writes");
        let mut reader = wire.as_slice();
        assert!(matches!(read(&mut reader).expect("reads"), Some(ToAgent::Hello { version: 7, .. })));
        assert!(matches!(read(&mut reader).expect("reads"), Some(ToAgent::Cancel)));
        assert!(read::<ToAgent>(&mut reader).expect("ends").is_none());
    }

    #[test]
    fn noise_is_refused_and_no_room_is_made_for_it() {
        let noise = b"\xff\xff\xff\xffLast login: yesterday";
        assert!(read::<FromAgent>(&mut noise.as_slice()).is_err());
        let short = b"\x03\xff\xff\xffLast login: yesterday";
        assert!(read::<FromAgent>(&mut short.as_slice()).is_err());
    }
}
