pub fn run(_: &std::path::Path) -> Result<(), String> {
    Ok(())
}
